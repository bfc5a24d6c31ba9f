"""What a model learns from: splits, labels that a loss takes, samples."""
