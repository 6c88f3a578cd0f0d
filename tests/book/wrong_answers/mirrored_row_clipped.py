import numpy as np


def mirrored_row(row, margin):
    place = np.abs(np.arange(-margin, len(row) + margin))
    last = len(row) - 1
    place = np.where(place > last, 2 * last - place, place)
    return row[place.clip(0, last)]
