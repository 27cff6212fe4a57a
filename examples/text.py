"""Dropout patterns for KerasHub's BERT, fine-tuned on raw text. Not run to its end here."""

import keras
import keras_hub
import tensorflow_datasets as tfds
import tf_autodropout as tad


def build():
    model = keras_hub.models.BertTextClassifier.from_preset("bert_tiny_en_uncased", num_classes=2, activation="softmax")
    model.compile(keras.optimizers.Adam(5e-5), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


data = lambda split: lambda: tfds.load("imdb_reviews", split=split, as_supervised=True, batch_size=16)
search = tad.AutoDropout(build, trials=16, out="runs/text", keep_dropout=False)
search.fit(data("train[:10%]"), validation_data=data("train[90%:]"), epochs=2)
print(search.compare(data("test")), search.best_model().count_params())
