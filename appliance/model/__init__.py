"""What studies, instances, parcels and receipts are, and which changes of state are legal.

Pure: values in, values out; time is an argument. No I/O, no clocks, no third party but msgspec.
Owns no file and no table. Both ends of the line use it.
"""
