"""Statistics of counts and times that know no engine."""
