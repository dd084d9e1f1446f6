"""Report on a data set: images measured one by one, duplicates, leaks, and a page about them."""

from .findings import Report, summarise
from .measurements import Measurements, measure

__all__ = ['Measurements', 'Report', 'measure', 'summarise']
