# The old way: python web2py.py -S eden -M -R applications/eden/static/scripts/tools/compile.py
from gluon.compileapp import compile_application

compile_application(request.folder)
