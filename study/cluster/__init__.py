"""Ray on this machine or on many: sessions, nodes, submitted jobs."""
