"""The loop, Label Studio and trainings on the photographs of NWPU VHR-10."""
