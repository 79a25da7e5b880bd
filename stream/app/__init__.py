"""The program: options, files of options, jobs, the fleet of streams, the command line and its reports.

May import everything; nothing imports it.
"""
