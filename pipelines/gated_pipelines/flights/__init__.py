"""The flights that left New York in 2013, as tables of months, with the pipeline that predicts their arrival delay."""

from gated_pipelines.flights.tables import write_flights as write_flights
