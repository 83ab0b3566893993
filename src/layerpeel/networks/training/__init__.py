"""Training past zero error, on record: ``layerpeel run network``.

train        seeds, one after another          plan          the settings of SGD
course       epochs, records, checkpoints      checkpoint    what is kept of a training under way
trainee      one network, an epoch at a time   evaluation    one record: loss, accuracy, collapse
criterion    losses                            resident      images on the device, orders of the samples
ranks        the processes of torchrun         batch_norm    batch norm over them
switches     torch's global switches, for the time of a run
replay       a step as CUDA graph
"""
