"""What a push folder holds: versions with their papers, its log, its champions. No TensorFlow."""
