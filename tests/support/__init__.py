"""What several tests share: synthetic speech with known truth, and recordings with sidecars."""
