"""The stages on files: what each sub-command does, callable from Python.

train     catalogue and pairs -> trained encoder
embed     catalogue -> embeddings, by a SavedModel
search    a product, a picture or a title -> the nearest products
evaluate  SavedModels side by side on held-out pairs and groups
demo      all of it, on the synthetic shop
"""
