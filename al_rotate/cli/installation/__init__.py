"""What an environment needs: tested versions, the set-up of MMRotate with its ops, and the doctor.

Standard library only, because all of it runs where packages are missing or broken.
"""
