"""Read and check configs."""
