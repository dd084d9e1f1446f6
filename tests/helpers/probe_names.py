"""Beginnings of the names of linear-probe configs, see `configs.find`."""

MOBY, ESVIT, IBOT, SERE = (f'{name}/benchmarks/' for name in ('moby', 'esvit', 'ibot', 'sere'))
SWAV, MOCOV3 = 'swav/benchmarks/resnet50', 'mocov3/benchmarks/'
STEPS = 'benchmarks/resnet50_8xb32-linear-steplr'
