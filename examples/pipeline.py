"""Dropout patterns for a ConvNet on a tf.data pipeline with augmentation. Not run to its end here."""

import keras
import tensorflow as tf
import tf_autodropout as tad


def data(x, y, train=False):
    augment = keras.Sequential([keras.layers.RandomFlip("horizontal"), keras.layers.RandomTranslation(0.1, 0.1)])
    batches = tf.data.Dataset.from_tensor_slices((x / 255, y)).shuffle(5000 if train else 1).batch(64)
    return batches.map(lambda x, y: (augment(x, training=train), y)).prefetch(2)


def build():
    model = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=10)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


(x, y), test = keras.datasets.cifar10.load_data()
search = tad.AutoDropout(build, trials=16, out="runs/pipeline", sites="block_*_project_BN", granularity="stage")
search.fit(lambda: data(x[:5000], y[:5000], True), validation_data=lambda: data(x[-5000:], y[-5000:]), epochs=5)
print(search.compare(lambda: data(*test)), search.best_model().count_params())
