"""How a study is seen while it runs and after: console, status, TensorBoard."""
