"""Those pages of the documentation that follow from the code: one can look up there every setting, command and rule."""
