"""Programs for the people who maintain this repository; nothing here is shipped."""
