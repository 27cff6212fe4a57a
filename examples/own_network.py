"""Dropout patterns for an own ConvNet on Fashion-MNIST. Not run to its end here."""

import keras
import tf_autodropout as tad

(x, y), test = keras.datasets.fashion_mnist.load_data()


def build():
    conv = lambda filters: [keras.layers.Conv2D(filters, 3), keras.layers.BatchNormalization(), keras.layers.ReLU()]
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential([keras.Input((28, 28, 1)), *conv(32), keras.layers.MaxPooling2D(), *conv(64), *head])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


search = tad.AutoDropout(build, "val_accuracy", trials=16, out="runs/fashion_mnist")
search.fit(x[:5000, ..., None] / 255, y[:5000], validation_data=(x[-5000:, ..., None] / 255, y[-5000:]), epochs=5)
print(search.compare((test[0][..., None] / 255, test[1])), search.best_model().count_params())
