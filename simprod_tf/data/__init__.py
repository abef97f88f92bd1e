"""Tables in, tables out: catalogues, event logs, pairs, splits. No TensorFlow.

Each module is imported by its own name:

    catalog      Catalog, Product, read_catalog
    tables       CSV, JSONL and Parquet -> Arrow, with the bad rows named
    events       event logs -> ordered views and purchases
    event_file   how the rows of an event log are named in SQL
    mining       mine_pairs: event log -> labelled pairs
    pairs        Pairs, read_pairs, write_pairs
    group_pairs  pairs drawn from the catalogue's own groups
    split        train, validation and test without leaks
    synthetic    make_shop: a shop with known answers
    formats      adapters for public data sets' own layouts
"""
