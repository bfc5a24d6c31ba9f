"""What each type of layer does with the channels of its inputs."""
