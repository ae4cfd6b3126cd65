"""Fit body mass = a + b * flipper length for each species, by least squares. Input: species, millimetres, grams."""

import csv
import sys
from collections import defaultdict
from statistics import correlation, linear_regression

birds = defaultdict(list)
with open(sys.argv[1]) as file:
    for species, flipper, mass in csv.reader(file):
        birds[species].append((float(flipper), float(mass)))

print("species,birds,grams_per_millimetre,correlation")
for species, measured in sorted(birds.items()):
    flippers, masses = zip(*measured, strict=True)
    slope = linear_regression(flippers, masses).slope
    print(f"{species},{len(measured)},{slope:.2f},{correlation(flippers, masses):.3f}")
