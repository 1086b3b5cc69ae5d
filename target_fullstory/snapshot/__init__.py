"""What Fullstory has confirmed: fingerprints of records, kept from run to run."""
