"""What build_addon.py makes besides the zip: folders of wheels, their licences, the files of a repository."""
