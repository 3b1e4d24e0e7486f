"""The application file that the operator hands to spark-submit; everything is in the package."""

from job.cli.main import entry

entry()
