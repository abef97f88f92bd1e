"""Pictures, titles and attributes -> arrays, in stock TensorFlow ops.

image            decode_picture: bytes -> pixels, in training and in the export
decoded_pictures a batch of pictures of which some may be bad, in the export
exif, gif        what decoding needs of these formats
inputs           picture files -> batches of pixels, in parallel
store            the features of frozen towers, once, on disk; with shard,
                 stored_features and picture_digest
unicode          fold: NFKC and case folding
text             the only tokeniser, and titles -> word ids
word_vectors     Word2Vec and fastText by gensim: train, load, prune; with word_files,
                 fasttext_file and wanted_words
word_weights     plain, IDF and SIF weights of words; coverage of titles
product_inputs   all of a product but its picture -> the encoder's inputs
batches          tf.data: pairs of products; with batch_dataset, as the next two
unique_batches   different products, with all labelled pairs among them
group_batches    some products of each of some groups
epoch_clock      what is random in a pass, by seed and epoch
augment          random changes to pictures while training
"""
