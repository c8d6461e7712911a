# A table of its own, and then an error
db.define_table("report_log", Field("text", "text"))
report_limit = settings_of_reports.limit
