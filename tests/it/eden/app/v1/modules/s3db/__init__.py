import s3db.asset
import s3db.pr
