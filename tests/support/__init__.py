"""What several tests share: real servers, watched folders, faults."""
