# -*- coding: utf-8 -*-

"""
    Machine-specific settings: copied to models/000_config.py, which git ignores
    A text is no setting:
settings.base.migrate = "in a docstring"
"""

FINISHED_EDITING_CONFIG_FILE = True

# Database settings
#settings.database.db_type = "postgres"
#settings.database.host = "localhost"
#settings.database.port = 5432
#settings.database.database = "sahana"
#settings.database.username = "sahana"
#settings.database.password = "password"

# Switch to "False" in Production for a Performance gain
settings.base.migrate = True
#settings.base.fake_migrate = True

settings.auth.hmac_key = "akeytochange"
#settings.mail.sender = "'Sahana' <sahana@example.org>"

settings.frontpage.rss = [
    {"title": "Eden",
     "url": "https://example.org/rss",
    },
]
settings.ui.confirm = False

# Import the settings from the Template
settings.import_template()

# Persons that the first run makes
settings.base.prepopulate = 750

VERSION = 1
