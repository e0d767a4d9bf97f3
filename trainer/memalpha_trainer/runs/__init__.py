"""What a run leaves behind and shows: its folder, the live table, trackers and the report. No torch here."""
