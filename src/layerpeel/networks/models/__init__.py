"""Networks for small images, each a backbone and one linear layer on top.

build          build_model(name): vgg11 .. vgg16 (-bn), resnet18, mlp
vgg  resnet  mlp    layers (initial weights)      etf_classifier   a head that is a fixed simplex ETF
"""
