"""Many runs and one table: every architecture trained, on the sample or on the complete MNIST."""
