"""Many runs, one table: the three architectures trained one after another, and the study of the complete MNIST."""
