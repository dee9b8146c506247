"""A referral or contact request from first touch to booked or lost."""
