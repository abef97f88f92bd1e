"""Tables in, tables out: catalogues, event logs, pairs, splits. No TensorFlow.

Each module is imported by its own name:

    catalog         Catalog, Product, read_catalog
    tables          CSV, JSONL and Parquet -> Arrow, with the bad rows named
    events          event logs -> ordered views and purchases
    event_file      how the rows of an event log are named in SQL; event_time: when
    mining          mine_pairs: event log -> labelled pairs
    mining_quality  how often they are right, by hand labels
    pairs           Pairs, read_pairs, write_pairs
    group_pairs     pairs drawn from the catalogue's own groups
    split           train, validation and test without leaks
    components      what hangs together by edges and similar pairs
    leakage         what they share that they should not
    picture_hash    near-identical pictures
    vectors         precomputed vectors of products
    picture_file    which pictures are read, and what of them is converted
    synthetic       make_shop: a shop with known answers; with shop_*
    formats         adapters for public data sets' own layouts
"""
