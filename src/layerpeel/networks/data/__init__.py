"""Image sets: found, fetched or embedded, verified byte by byte. No torch.

image_set      ImageSet; images by name, in the order in which they are looked for; subsets, imbalance
idx            the file format of MNIST          mnist_format   any four files of it
fetch          mirrors, checksums, retries       download       one file over HTTP, resumed
"""
