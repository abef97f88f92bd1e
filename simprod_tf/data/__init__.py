"""Tables in, tables out: catalogues, event logs, pairs, splits. No TensorFlow.

Each module is imported by its own name:

    catalog         Catalog, Product, read_catalog
    tables          CSV, JSONL and Parquet -> Arrow, with the bad rows named
    catalog_shards  a catalogue of any size, a piece at a time; catalog_row: one product
    embedding_shards  embeddings as Parquet files
    events          event logs -> ordered views and purchases
    event_settings  EventSettings: a log's columns and events
    event_staging   one file of a log, parsed and checked; event_shards: many
    event_file      how the rows of an event log are named in SQL; event_time: when
    mining          mine_pairs: event log -> labelled pairs
    mining_quality  how often they are right, by hand labels
    pairs           Pairs, read_pairs, write_pairs
    pair_shards     pairs that memory does not hold; pair_count: how many
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
