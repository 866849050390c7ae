"""Many runs, one table: the architectures trained one after another, and the study of the complete MNIST."""
