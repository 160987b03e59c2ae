"""Sentence vectors and distances between texts: pooling, whitening, transport, search."""

from kexue.sentences.dense import append_dense, save_dense
from kexue.sentences.moments import Moments
from kexue.sentences.pooling import pool
from kexue.sentences.search import SearchIndex
from kexue.sentences.search_hit import SearchHit
from kexue.sentences.transport import emd, wmd, wrd
from kexue.sentences.transport_alignment import Flow, TransportPlan, transport_plan
from kexue.sentences.transport_bags import bag_of_words
from kexue.sentences.transport_bounds import centroid_bound, relaxed_bound
from kexue.sentences.transport_search import NearestDocuments, nearest_documents
from kexue.sentences.transport_sinkhorn import sinkhorn
from kexue.sentences.vector_store import VectorStore
from kexue.sentences.whitening import Whitening

__all__ = [
    "Flow",
    "Moments",
    "NearestDocuments",
    "SearchHit",
    "SearchIndex",
    "TransportPlan",
    "VectorStore",
    "Whitening",
    "append_dense",
    "bag_of_words",
    "centroid_bound",
    "emd",
    "nearest_documents",
    "pool",
    "relaxed_bound",
    "save_dense",
    "sinkhorn",
    "transport_plan",
    "wmd",
    "wrd",
]
