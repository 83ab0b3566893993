"""Collapse along a training, on record.

monitor             CollapseMonitor, for any loop
lightning_callback  transformers_callback          the same inside the trainers of these frameworks

schedule   which steps are measured         every_sample   each sample of a DataLoader once, in order
probe      a model, measured again and again  journal      its rows and their folder
undisturbed   random numbers as they were
"""
