"""Tests of mmssl.gpu_check."""
