"""Public data sets' own layouts, one module for each; `layouts` lists them all.

A converter reads a data set as it is published and writes plain tables: catalogues,
labelled pairs, event logs. None downloads.
"""
