# The old way: python web2py.py -S eden -M -R applications/eden/static/scripts/tools/noop.py
s3db.load_all_models()
