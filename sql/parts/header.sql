/* fraiseql_obs--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION fraiseql_obs" to load this file. \quit

