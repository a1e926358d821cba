"""How results become files: whole or not at all, pictures or data, by the ending of the name.

- files.py: a file or folder is written aside and renamed; what a killed process left is removed;
- endings.py: which endings there are;
- data_file.py: facts and arrays in one `.npz` or `.json`, and back; facts.py checks what came back;
- result.py: the one `save` behind every result.
"""
