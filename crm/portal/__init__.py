"""What referrers see: their referrals, a new referral, messages, files."""
