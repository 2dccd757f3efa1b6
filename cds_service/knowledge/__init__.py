"""What medicine says: tables that people review, the shapes they must have, and the loader that refuses the rest."""

from cds_service.knowledge.loader import Knowledge, load_knowledge

__all__ = ["Knowledge", "load_knowledge"]
