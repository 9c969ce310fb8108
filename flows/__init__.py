"""The story: which stage follows which; one flow a stage, one command a flow."""
